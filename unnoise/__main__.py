"""`python -m unnoise`: the same as `unnoise`."""

from unnoise.cli import run

if __name__ == "__main__":
    run()
