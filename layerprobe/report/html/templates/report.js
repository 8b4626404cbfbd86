// Headings become buttons that sort their table: by numbers from the largest, by letters from A; again turns it around.
(() => {
  "use strict";
  const letters = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const compare = (kind) => (one, other) =>
    kind === "number" ? Number(one) - Number(other) : letters.compare(one, other);

  const sort = (table, index, kind, ascending) => {
    const body = table.tBodies[0];
    const value = (row) => row.cells[index].dataset.value;
    const order = compare(kind);
    const rows = [...body.rows];
    const known = rows.filter((row) => value(row) !== "");
    const missing = rows.filter((row) => value(row) === "");
    known.sort((one, other) => (ascending ? 1 : -1) * order(value(one), value(other)));
    body.append(...known, ...missing);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    for (const [index, heading] of headings.entries()) {
      if (heading.tagName !== "TH") continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        const ascending = now === "none" ? heading.dataset.kind !== "number" : now === "descending";
        for (const other of headings) if (other.tagName === "TH") other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, index, heading.dataset.kind, ascending);
      });
    }
  }
})();
