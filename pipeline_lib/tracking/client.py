"""MLflow's client with the home that it is used from."""

from mlflow import MlflowClient

from pipeline_lib.home import Home


class StoreClient(MlflowClient):
    """MLflow's client; packages are downloaded to the scratch folder of `home`."""

    def __init__(self, tracking_uri: str, home: Home) -> None:
        super().__init__(tracking_uri)
        self.home = home
