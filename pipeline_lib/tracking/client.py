"""The client of a store, which knows the home that it is used from."""

from mlflow import MlflowClient

from pipeline_lib.home import Home


class StoreClient(MlflowClient):
    """MLflow's client; packages are looked at in the scratch folder of `home`."""

    def __init__(self, tracking_uri: str, home: Home) -> None:
        super().__init__(tracking_uri)
        self.home = home
