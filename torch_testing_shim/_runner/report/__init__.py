"""Reports: what people read while a run goes on and after it, and what CI and other programs read.

events      what a report is told, and by whom: the protocol `RunReport`
terminal    lines for a terminal and for a pipe
running     what a report knows of one running process
progress    how far the run has come, and the time left
output      what files print, passed on while they run
floor       one speaker at a time: the output of files that run at once does not mix
junit       JUnit XML
"""
