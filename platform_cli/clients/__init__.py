"""HTTP clients of the services that the commands speak to."""
