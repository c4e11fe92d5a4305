"""Root's part of the administrators' pages: fixed verbs, asked for through a Unix socket.

Read it in this order: ``serve`` (who may ask, and how), ``verbs`` (the table: all that can be asked for),
``arguments`` (what may be said with it), ``jobs`` (what takes long), ``spool``, ``downloads``, ``logs``,
``seen``. What it does is done by the functions of the ``microblog`` command. docs/security.md says what a
person can do with it who has taken over the application's user.
"""
