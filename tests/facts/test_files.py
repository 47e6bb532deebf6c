"""When the data files are read: on first use, once."""

import os
import subprocess
import sys

PROGRAM = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

def data():
    return [path for path in opened if "multi_region/facts/data" in path.replace(chr(92), "/")]

from mahavishnu.integrations.multi_region.facts import backbone, catalog, checks, jurisdictions, places
print(len(data()))
for _ in range(2):
    catalog.all_regions(), catalog.find("eu-west-1"), places.cities(), places.countries(), places.centroids()
    jurisdictions.jurisdictions(), backbone.measured_pairs("aws"), checks.landmarks()
print(len(data()), len(set(data())))
"""


def test_importing_reads_nothing_and_each_file_is_read_once() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=env)
    assert run.stdout.split() == ["0", "5", "5"]
