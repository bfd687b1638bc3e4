"""The studio's server: a model behind a page and an HTTP interface, for one machine's user."""
