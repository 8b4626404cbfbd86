"""How wide LaTeX sets tables: ``python benchmarks/latex_tables.py FILE.tex...``, with ``pdflatex``.

Takes what ``--format latex`` prints and what ``layerprobe report`` writes. Every table is set in 10 points on a page of
the width of NeurIPS, 5.5 inches; a line each says how wide its widest ``tabular`` is. The exit code is 1 if a table is
wider than the page, or a line of text wider than its column.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCUMENT = r"""\documentclass[10pt]{article}
\usepackage[textwidth=5.5in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
TABULAR = re.compile(r"\\begin{tabular}.*?\\end{tabular}", re.DOTALL)
POINTS_PER_INCH = 72.27


def widths(tables: list[str]) -> tuple[list[float], int]:
    """Points that LaTeX sets every ``tabular`` in, and how many lines of text are wider than their column."""
    boxes = [f"\\setbox0\\hbox{{{table}}}\\typeout{{WIDTH \\the\\wd0}}" for table in tables]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tables.tex").write_text(DOCUMENT % "\n".join(boxes), encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
        log = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return [float(width) for width in re.findall(r"WIDTH ([\d.]+)pt", log)], log.count("Overfull")


def main() -> None:
    """Measure the files that are named."""
    found = {path: TABULAR.findall(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:]}
    measured, overfull = widths([table for tables in found.values() for table in tables])
    following = iter(measured)
    widest = {path: max(next(following) for _ in tables) for path, tables in found.items()}
    for path, width in widest.items():
        print(f"{width:6.1f} pt  {path}")
    print(f"{overfull} lines are wider than their column")
    sys.exit(int(max(measured) > 5.5 * POINTS_PER_INCH or overfull > 0))


if __name__ == "__main__":
    main()
