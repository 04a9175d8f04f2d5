"""The benchmarks: how fast, how small. `run.py` lists them; the command `bench` prints what they find."""
