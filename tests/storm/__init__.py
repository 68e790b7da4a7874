"""Many runs while processes are killed, connections cut, disks filled and clocks stepped; then a
checker that compares what people were told, what the store says and what the books say.

    python -m tests.storm --seed 7 --kills 300 --profile till
"""
