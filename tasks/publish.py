"""Put a page on Prefect; a server that is away gets it from the next run."""

from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from pipeline_lib.attempts import attempt_of
from pipeline_lib.home import DatasetFolder
from pipeline_lib.wording import first_line


def publish_page(dataset: DatasetFolder, page: Path, outcome: str) -> None:
    """Publish a page as the dataset's decision; a server that does not take it ends no run.

    Args:
        dataset: of the page.
        page: its markdown file, which stays.
        outcome: of the run, as "promoted".
    """
    name = dataset.name
    key, about = f"decision-{name.replace('_', '-')}", f"{name}: {outcome}"
    try:
        create_markdown_artifact(page.read_text("utf-8"), key=key, description=about)
    except Exception as error:  # noqa: BLE001 - the outcome stands
        get_current_settings().client.max_retries = 0  # the last calls are made once
        if flow_run.id is not None:
            attempt = attempt_of(dataset, str(flow_run.id))
            attempt.note({"page": str(page), "artifact": key, "about": about})
        get_run_logger().warning(
            "report    the page is not on Prefect's pages (%s); the next run puts it there",
            first_line(error),
        )
