"""A program that passes its input on to standard error without the lines that match its argument; see start_noise.py.

It is a process of its own so that nothing is lost where TensorFlow ends the process that imports it. It imports nothing
of the library, because it must run within milliseconds.
"""

import re
import sys

if __name__ == "__main__":
    noise = re.compile(sys.argv[1].encode())
    for line in sys.stdin.buffer:
        if not noise.search(line):
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
