"""`python -m canvas_rl.primitives` prints the page about the kernel language."""

import sys

from canvas_rl.primitives.page import page

if __name__ == "__main__":
    sys.stdout.write(page())
