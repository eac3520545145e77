"""One file a command; each is thin over `stack`, `local` and `clients`."""
