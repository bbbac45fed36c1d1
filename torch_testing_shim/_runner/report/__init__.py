"""Reports: for people while a run goes on and after it, and for CI and other programs.

    session        all reports of one run: the runner knows only this one
    merge_reports  the JSON lines of several machines as one run, with one verdict

While the run goes on:

    terminal       lines for a terminal and for a pipe
    github         groups and annotations for GitHub Actions
    output         the output of files, passed on while they run and never mixed
    progress       the running processes, how far the run has come, and the time left
    wording        lines and rows that several reports have
    junit          JUnit XML, written as each file ends

When it has ended:

    files          where reports are wanted, and whether they can be written there
    recorded_run   a run with its place and time, and a row for each of its tests
    json_lines     records for programs, and the way back from them
    markdown       the summary of a GitHub job
    page           the HTML page, with its template `page.html.j2`
    timeline       the page's timeline
    trace          the trace for Perfetto and Chrome
"""
