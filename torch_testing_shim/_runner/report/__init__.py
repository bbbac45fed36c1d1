"""Reports: what people read while a run goes on and after it, and what CI and other programs read.

    session     all reports of one run: what the runner knows of them
    merge_reports  Runs of several machines as one: their JSON lines are read, and there is one verdict

While it goes on:

    events      what a report is told, and by whom: the protocol `RunReport`
    terminal    lines for a terminal and for a pipe
    github      groups, annotations and the job's summary for GitHub Actions, with
                github_commands: the escapes, and where a test failed; markdown: the summary's text
    wording     the lines and rows that both have
    running     what a report knows of one running process
    progress    how far the run has come, and the time left
    output      what files print, passed on while they run
    floor       one speaker at a time: the output of files that run at once does not mix
    junit       JUnit XML, written as each file ends

When it has ended:

    listings       what the user asks to read at the end: slow tests, reasons of skips
    files          where reports are wanted, and that they can be written there
    recorded_run   a run with where and when it was
    rows           one row for each test, whoever found out about it
    json_lines     records for programs, and the way back from them
    page           the HTML page, with its template `page.html.j2`
    timeline       the page's timeline
    trace          the trace for Perfetto and Chrome
"""
