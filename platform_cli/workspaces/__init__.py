"""Workspaces of the local runtime: JupyterLab and VS Code as native processes, for one person each."""
