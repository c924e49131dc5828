"""The only package that imports MLflow: slowly, so its modules are imported where used."""
