// Import: the document goes to the API as a dry run whenever it changes; what comes of it is shown row by row, or
// its problems at the lines that they are about; then it is applied at the revision that was looked at.

const ROWS_MAX = 2000;

const $ = (id) => document.getElementById(id);

const make = (name, text = "", of = {}) => {
  const element = Object.assign(document.createElement(name), of);
  if (text) element.textContent = text;
  return element;
};

const table = (heads, rows) => {
  const [scroll, table] = [make("div", "", { className: "scroll", tabIndex: 0 }), make("table", "", { className: "diff" })];
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "What the document comes to");
  const head = table.createTHead().insertRow();
  for (const text of heads) head.append(make("th", text));
  const body = table.createTBody();
  for (const [kind, ...cells] of rows.slice(0, ROWS_MAX)) {
    const row = body.insertRow();
    row.className = kind;
    cells.forEach((text, at) => { row.insertCell().append(at === 1 ? make("code", text) : text); });
  }
  scroll.append(table);
  return scroll;
};

const changes = (report) => [
  ...report.added.map((name) => ["added", "added", name, ""]),
  ...report.changed.map((name) => ["changed", "changed", name, (report.fields?.[name] ?? []).join(", ")]),
  ...report.removed.map((name) => ["removed", "removed", name, ""]),
];

const problems = (problem, lines) => (problem.problems?.length ? problem.problems : [{ text: problem.detail }])
  .map(({ subject, field, text, line }) =>
    ["wrong", line ? `line ${line}` : "", (line && lines[line - 1]?.trim().slice(0, 120)) || subject || "", [field, text].filter(Boolean).join(": ")]);

const send = async (text, dry, tag) => {
  const query = [dry && "dry_run=true", $("prune").checked && "prune=true"].filter(Boolean).join("&");
  const headers = { "content-type": "text/plain; charset=utf-8", ...(tag ? { "if-match": tag } : {}) };
  try {
    const answer = await fetch(`/api/v1/inventory/import${query ? `?${query}` : ""}`, { method: "POST", headers, body: text });
    return { ok: answer.ok, body: await answer.json() };
  } catch {
    return { ok: false, body: { detail: "The head does not answer." } };
  }
};

export default () => {
  const zone = document.querySelector("[data-drop-zone]");
  if (!zone) return;
  const outcome = $("outcome");
  let [turn, timer] = [0, undefined];

  const heading = (text, note = "") => {
    const header = make("header");
    header.append(make("h2", text), make("p", note));
    return header;
  };
  const show = (...parts) => { outcome.replaceChildren(...parts); outcome.hidden = false; };

  const check = async () => {
    const mine = ++turn;
    const text = $("document").value;
    if (!text.trim()) { outcome.hidden = true; return; }
    const answer = await send(text, true);
    if (mine !== turn) return;
    if (!answer.ok) {
      const rows = problems(answer.body, text.split("\n"));
      return show(heading(rows.length === 1 ? "One problem" : `${rows.length} problems`, "Nothing was changed."), table(["Where", "What is there", "What is wrong"], rows));
    }
    const { body: report } = answer;
    const rows = changes(report);
    const note = `${report.added.length} added, ${report.changed.length} changed, ${report.removed.length} removed, ${report.unchanged} as they are`;
    const parts = [heading(rows.length ? "What would change" : "Nothing would change", note)];
    if (rows.length) parts.push(table(["", "What", "Fields"], rows));
    if (rows.length > ROWS_MAX) parts.push(make("p", `and ${(rows.length - ROWS_MAX).toLocaleString()} more`));
    for (const text of report.notes ?? []) parts.push(make("p", text, { className: "note" }));
    if (rows.length) parts.push(apply(text, report, rows.length));
    show(...parts);
  };

  const apply = (text, report, count) => {
    const row = make("div", "", { className: "actions foot" });
    const button = make("button", count === 1 ? "Apply 1 change" : `Apply ${count.toLocaleString()} changes`, { type: "button", className: "main" });
    button.onclick = async () => {
      button.disabled = true;
      const answer = await send(text, false, `"r${report.revision}"`);
      if (answer.ok) {
        sessionStorage.setItem("flash", "Imported.");
        return location.assign("/ui/nodes");
      }
      row.append(make("p", answer.body.detail, { className: "verdict bad" }));
      setTimeout(check, 1500);
    };
    row.append(button);
    return row;
  };

  const later = () => { clearTimeout(timer); timer = setTimeout(check, 350); };
  const take = async (file) => {
    if (!file) return;
    $("document").value = await file.text();
    check();
  };
  $("document").addEventListener("input", later);
  $("prune").addEventListener("change", check);
  $("file").addEventListener("change", ({ target }) => take(target.files[0]));
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  if ($("document").value.trim()) check();
};
