"""The commands of the command line, a module a kind; each imports what it needs when it runs."""
