"""The command line, also kubectl's plugin: one module a verb, imported only when the verb is called."""
