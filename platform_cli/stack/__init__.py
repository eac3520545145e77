"""What the stack is: settings, secrets and services, read from compose/. Nothing here starts anything."""
