"""The verbs: one file each, which says what it takes and calls one task. `unnoise --help` lists them in this order."""

# ruff: noqa: F401, I001
from unnoise.cli.verbs import train
from unnoise.cli.verbs import sample
from unnoise.cli.verbs import edit
from unnoise.cli.verbs import animate
from unnoise.cli.verbs import serve
from unnoise.cli.verbs import explain
from unnoise.cli.verbs import watch
from unnoise.cli.verbs import info
from unnoise.cli.verbs import check
from unnoise.cli.verbs import noise
from unnoise.cli.verbs import tune
from unnoise.cli.verbs import recipes
from unnoise.cli.verbs import evaluate
from unnoise.cli.verbs import compare
from unnoise.cli.verbs import sweep
from unnoise.cli.verbs import features
from unnoise.cli.verbs import report
from unnoise.cli.verbs import likelihood
from unnoise.cli.verbs import selfcheck
from unnoise.cli.verbs import reproduce
from unnoise.cli.verbs import export
from unnoise.cli.verbs import import_
from unnoise.cli.verbs import push
