"""`python -m canvas_rl.zoo` prints the zoo's page."""

import sys

from canvas_rl.zoo.page import page

if __name__ == "__main__":
    sys.stdout.write(page())
