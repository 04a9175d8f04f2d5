"""`python -m portfolio_scheduler` is the command `portfolio-scheduler`."""

from portfolio_scheduler.cli.main import main

if __name__ == "__main__":
    main()
