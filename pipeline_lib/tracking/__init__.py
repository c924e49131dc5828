"""The only door to MLflow. Every module but `reference` imports mlflow: import where needed."""
