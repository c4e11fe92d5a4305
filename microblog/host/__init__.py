"""What the ``microblog`` command does to a server. Nothing here imports Flask.

Folders stand in an order, and none reaches one above it:

    agent
    setup
    plan
    extras   health   card
    updates
    backups
    database
    site
    machine
"""
