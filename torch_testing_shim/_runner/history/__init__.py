"""What earlier runs tell of files and tests.

failed_files        where failed tests are kept between runs: the tree's own record, and the lists that the user
                    writes and reads
failed_tests        which tests failed, as lines that the command line takes: `file::Class.test`, `file::Class`
                    or `file`
recorded_durations  what earlier runs tell of the files at hand
times               the times file: how long files and their tests took, and on how many ranks
times_file          the times file on the disk: read without ever failing a run, written as a whole or not at
                    all
tree_history        what a tree remembers of earlier runs: what failed, and how long it took
whole_file          text files that are written as a whole or not at all: whoever reads one finds the old text
                    or the new one
"""
