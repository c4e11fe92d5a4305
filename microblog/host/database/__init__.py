"""The site's database: its server, schema, rows, and a second one beside it. Reaches site and machine."""
