"""People: their accounts in every service, their roles, and the credentials of their programs."""
