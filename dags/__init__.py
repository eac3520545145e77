"""Task graphs made from the declarations of the projects."""
