"""Where and how often: one Prefect task per file. Heavy libraries are imported in the bodies."""
