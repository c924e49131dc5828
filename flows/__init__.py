"""When and in which order."""

import sys
from pathlib import Path

# To load a flow's file a worker of Prefect puts the file's folder and the project's before all
# libraries on the path of modules, and leaves them there: a json.py of theirs would be loaded
# wherever a library asks for json later on. They go to the end.
_OWN = {str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path.cwd())}
sys.path.sort(key=lambda place: place in _OWN)
