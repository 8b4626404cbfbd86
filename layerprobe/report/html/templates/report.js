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
      if (heading.tagName !== "TH" || heading.textContent.trim() === "") continue;
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

// What a row of a table says shows up beside the figure where the pointer, a finger or the keyboard points at its place.
(() => {
  "use strict";
  const places = [...document.querySelectorAll("a.place")];
  if (!places.length) return;
  const card = document.createElement("aside");
  card.className = "card";
  card.hidden = true;
  card.setAttribute("role", "status");
  document.body.append(card);
  let pinned = null;

  const rowOf = (place) => document.getElementById(place.getAttribute("href").slice(1));

  const element = (tag, text) => {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  };

  const fill = (place) => {
    const row = rowOf(place);
    const headings = [...row.closest("table").tHead.rows[0].cells];
    const list = document.createElement("dl");
    for (const [index, cell] of [...row.cells].entries()) {
      const text = cell.textContent.trim();
      if (headings[index].tagName === "TH" && text !== "" && text !== "-" && text !== place.getAttribute("aria-label"))
        list.append(element("dt", headings[index].textContent), element("dd", text));
    }
    card.replaceChildren(element("strong", place.getAttribute("aria-label")), list);
  };

  const put = (place, x, y) => {
    card.style.left = card.style.top = "";
    if (matchMedia("(max-width: 40rem)").matches) return; // it lies at the lower edge of the screen
    const box = card.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${Math.max(8, Math.min(y + 16, innerHeight - box.height - 8))}px`;
  };

  const light = (place) => {
    const target = place ? place.getAttribute("href") : "";
    for (const one of places) one.classList.toggle("on", one.getAttribute("href") === target);
    for (const row of document.querySelectorAll("tr.on")) row.classList.remove("on");
    if (place) rowOf(place).classList.add("on");
  };

  const show = (place, x, y) => {
    fill(place);
    card.hidden = false;
    put(place, x, y);
    light(place);
  };

  const hide = () => {
    pinned = null;
    card.hidden = true;
    card.classList.remove("pinned");
    light(null);
  };

  const beside = (place) => {
    const box = place.getBoundingClientRect();
    show(place, box.right, box.top);
  };

  for (const svg of new Set(places.map((place) => place.closest("svg")))) {
    const own = [...svg.querySelectorAll("a.place")];
    for (const [index, place] of own.entries()) {
      place.tabIndex = index ? -1 : 0;
      place.addEventListener("pointerenter", (event) => pinned || show(place, event.clientX, event.clientY));
      place.addEventListener("pointerleave", () => pinned || hide());
      place.addEventListener("focus", () => place.matches(":focus-visible") && beside(place));
      place.addEventListener("blur", hide);
      place.addEventListener("click", (event) => {
        if (!event.detail) return; // Enter follows the link to the row
        event.preventDefault();
        const again = pinned === place;
        hide();
        if (!again) {
          show(place, event.clientX, event.clientY);
          pinned = place;
          card.classList.add("pinned");
        }
      });
      place.addEventListener("keydown", (event) => {
        const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -index, End: own.length - 1 - index };
        if (!(event.key in steps)) return;
        const next = own[index + steps[event.key]];
        event.preventDefault();
        if (!next) return;
        place.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    }
  }

  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("click", (event) => pinned && !event.target.closest("a.place, .card") && hide());
})();
