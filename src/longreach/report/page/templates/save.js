// A figure's numbers as a CSV file (RFC 4180), made here: nobody is asked for it.

const NUMBERS = new Set(["nan", "inf", "-inf"]); // what JSON could not carry as numbers

/** One cell. Text that a spreadsheet would take for a formula gets an apostrophe before it, so that it stays text. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string" || NUMBERS.has(value)) return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv(figure) {
  return [figure.columns, ...figure.rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

document.addEventListener("click", (event) => {
  const name = event.target.closest?.("[data-csv]")?.dataset.csv;
  if (!name || !figures.has(name)) return;
  // The mark at the beginning tells spreadsheets that it is UTF-8.
  const file = new Blob(["\ufeff", csv(figures.get(name))], { type: "text/csv;charset=utf-8" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: `${name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
