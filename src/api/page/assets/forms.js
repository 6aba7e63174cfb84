// Forms speak the REST API: their fields become its JSON, its problems go beside the fields that they name, and
// while somebody types the API is asked, as a dry run, what would come of it. No rule is written here.

const PATIENCE = 350; // ms after the last key before the API is asked

export const awaken = (root) => {
  for (const set of root.querySelectorAll("fieldset[data-awaken]")) set.disabled = false;
  for (const form of root.querySelectorAll("form[data-api]")) prepare(form);
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.api) press(button);
    else if (button?.dataset.add) add(button);
    else if (button?.dataset.drop !== undefined) drop(button);
    else if (button?.dataset.copy) copy(button);
    else if (button?.dataset.open) document.getElementById(button.dataset.open)?.showModal();
    else if (button?.dataset.close !== undefined) button.closest("dialog")?.close();
  });
  const flash = sessionStorage.getItem("flash");
  if (flash) { sessionStorage.removeItem("flash"); toast(flash); }
};

const prepare = (form) => {
  let timer, asked = 0;
  const check = async () => {
    const turn = ++asked;
    const answer = await ask(form, true);
    if (turn === asked) show(form, answer, true);
  };
  const later = () => { clearTimeout(timer); if (form.dataset.check !== undefined) timer = setTimeout(check, PATIENCE); };
  form.addEventListener("input", later);
  form.addEventListener("changed", later);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    asked += 1;
    if (form.dataset.confirm && !await sure(form.dataset.confirm)) return;
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => { button.disabled = true; });
    const answer = await ask(form, false);
    buttons.forEach((button) => { button.disabled = false; });
    show(form, answer, false);
    if (answer.ok) done(form, answer.body);
  });
};

const press = async (button) => {
  if (button.dataset.confirm && !await sure(button.dataset.confirm, button.dataset.verb)) return;
  button.disabled = true;
  const answer = await call(button.dataset.api, button.dataset.path, button.dataset.body);
  button.disabled = false;
  if (answer.ok) done(button, answer.body);
  else toast(answer.body.detail, true);
};

// What follows a success: what was made and is shown only once, or the page that shows the rest.
const done = (element, body) => {
  const once = element.dataset.once && body?.[element.dataset.once];
  if (once) return reveal(element, once);
  if (element.dataset.done) sessionStorage.setItem("flash", element.dataset.done);
  const then = (element.dataset.then ?? "").replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(body?.[name] ?? ""));
  if (then && then !== location.pathname + location.search) location.assign(then);
  else location.reload();
};

const ask = (form, dry) => {
  const { path, query, body } = read(form);
  if (dry) query.set("dry_run", "true");
  const text = query.toString().replaceAll("+", "%20");
  const empty = !Object.keys(body).length && form.dataset.api !== "PUT";
  return call(form.dataset.api, path + (text ? `?${text}` : ""), empty ? undefined : JSON.stringify(body));
};

export const call = async (method, path, body) => {
  try {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const answer = await fetch(path, { method, body, headers });
    if (answer.status === 401) location.reload();
    const text = await answer.text();
    const json = text && answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : {};
    return { ok: answer.ok, status: answer.status, body: answer.ok ? json : { detail: text, ...json } };
  } catch {
    return { ok: false, status: 0, body: { detail: "The head does not answer." } };
  }
};

// Reads a form. A field's name is its place in the JSON: `interfaces[0].mac`; `data-as` says what it becomes.
const read = (form) => {
  const [body, query] = [{}, new URLSearchParams()];
  let path = form.dataset.path;
  for (const list of form.querySelectorAll("[data-list]")) put(body, list.dataset.list, []);
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.matches("fieldset, button")) continue;
    if (field.type === "radio" && !field.checked) continue;
    const text = field.value.trim();
    const as = field.dataset.as ?? (field.type === "checkbox" ? "flag" : "text");
    if (as === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(text));
    else if (as === "query") { if (text) query.set(field.name, text); }
    else if (as === "query-flag") { if (field.checked) query.set(field.name, "true"); }
    else if (as === "none" || field.closest("[data-only]")?.checkVisibility() === false) continue;
    else if (field.dataset.with && !form.elements[field.dataset.with].value.trim()) continue;
    else if (field.dataset.whole && !text) put(body, field.dataset.whole, null);
    else put(body, field.name, value(field, as, text));
  }
  return { path, query, body };
};

const value = (field, as, text) => {
  switch (as) {
    case "flag": return field.checked;
    case "yes": return true;
    case "list": return text.split(/[\s,]+/).filter(Boolean);
    case "lines": return text.split("\n").map((line) => line.trim()).filter(Boolean);
    case "number": return text === "" ? null : Number(text);
    case "base64": return text === "" ? undefined : base64(field.value);
    case "document": return text === "" ? null : field.value;
    case "pairs": return Object.fromEntries(field.value.split("\n").filter((line) => line.trim()).map((line) => {
      const at = line.indexOf(":");
      return at < 0 ? [line.trim(), ""] : [line.slice(0, at).trim(), parsed(line.slice(at + 1).trim())];
    }));
    default: return text === "" ? (field.dataset.empty === "text" ? "" : field.dataset.empty === "leave" ? undefined : null) : text;
  }
};

const parsed = (text) => { try { return JSON.parse(text); } catch { return text; } };

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

const put = (body, name, value) => {
  if (value === undefined) return;
  const steps = name.replace(/\[(\d+)\]/g, ".$1").split(".");
  const last = steps.pop();
  const place = steps.reduce((at, step, index) => at[step] ??= /^\d+$/.test(steps[index + 1] ?? last) ? [] : {}, body);
  place[last] = value;
};

// Puts problems beside their fields, and the rest into the form's verdict.
const show = (form, answer, dry) => {
  const verdict = form.querySelector("[data-verdict]");
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const wrong of form.querySelectorAll("[data-wrong]")) wrong.textContent = "";
  if (answer.ok) return say(verdict, dry ? outcome(answer.body) : "", "good");
  const left = [];
  for (const problem of answer.body.problems ?? []) {
    const field = [...form.elements].find((one) => one.name && fits(one.name, problem.field));
    const wrong = field && document.getElementById(`${field.id}-wrong`);
    if (!wrong) { left.push([problem.subject, problem.field, problem.text].filter(Boolean).join(": ")); continue; }
    field.setAttribute("aria-invalid", "true");
    wrong.textContent = problem.line > 0 ? `Line ${problem.line}: ${problem.text}` : problem.text;
  }
  if (!answer.body.problems?.length) left.push(answer.body.detail);
  say(verdict, left.join("\n"), "bad");
};

const fits = (name, field) => name === field || field.endsWith(`.${name}`) || field.startsWith(`${name}[`) || field.startsWith(`${name}.`);

const say = (verdict, text, kind) => {
  if (!verdict) return;
  verdict.textContent = text;
  verdict.className = `verdict ${text ? kind : ""}`;
};

// A dry run in words.
const outcome = (report) => {
  if (report.warnings?.length) return report.warnings.map((one) => one.line ? `Line ${one.line}: ${one.text}` : one.text).join("\n");
  const of = (names, verb) => names?.length ? [`${verb} ${names.length > 3 ? `${names.length} things` : names.join(", ")}`] : [];
  const fields = [...new Set(Object.values(report.fields ?? {}).flat())];
  const parts = [...of(report.added, "adds"), ...of(report.changed, "changes"), ...of(report.removed, "removes")];
  if (report.added && !parts.length) return "This changes nothing.";
  return parts.length ? `This ${parts.join(", ")}${fields.length ? ` (${fields.join(", ")})` : ""}.` : "";
};

// Another row of a list, from the template beside the button.
const add = (button) => {
  const list = document.getElementById(button.dataset.add);
  const template = document.getElementById(`${button.dataset.add}-row`);
  const at = list.children.length;
  const row = template.content.cloneNode(true);
  for (const element of row.querySelectorAll("*")) {
    for (const name of ["name", "id", "for", "aria-describedby"]) {
      if (element.hasAttribute(name)) element.setAttribute(name, element.getAttribute(name).replaceAll("[#]", `[${at}]`));
    }
  }
  list.append(row);
  list.lastElementChild.querySelector("input")?.focus();
};

const drop = (button) => {
  const [row, form] = [button.closest("[data-row]"), button.closest("form")];
  const list = row.parentElement;
  row.remove();
  [...list.children].forEach((row, at) => {
    for (const field of row.querySelectorAll("[name]")) field.name = field.name.replace(/\[\d+\]/, `[${at}]`);
  });
  form.dispatchEvent(new Event("changed"));
};

const copy = async (button) => {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  toast("Copied.");
};

// Asks for a word before something is lost.
export const sure = (text, verb = "Yes, do it") => new Promise((resolve) => {
  const dialog = document.createElement("dialog");
  const [words, row, no, yes] = ["p", "div", "button", "button"].map((name) => document.createElement(name));
  words.textContent = text;
  words.id = "sure-text";
  dialog.setAttribute("aria-labelledby", words.id);
  row.className = "actions";
  [no.type, yes.type, no.textContent, yes.textContent, yes.className] = ["button", "button", "Cancel", verb, "danger"];
  row.append(yes, no);
  dialog.append(words, row);
  document.body.append(dialog);
  let answer = false;
  yes.onclick = () => { answer = true; dialog.close(); };
  no.onclick = () => dialog.close();
  dialog.onclose = () => { dialog.remove(); resolve(answer); };
  dialog.showModal();
  no.focus();
});

const reveal = (element, text) => {
  const dialog = document.createElement("dialog");
  const [words, value, row, close] = ["p", "pre", "div", "button"].map((name) => document.createElement(name));
  words.textContent = element.dataset.told ?? "This is shown once. Keep it now.";
  words.id = "reveal-text";
  dialog.setAttribute("aria-labelledby", words.id);
  value.textContent = text;
  value.tabIndex = 0;
  value.className = "once";
  [row.className, close.type, close.textContent] = ["actions", "button", "I have kept it"];
  row.append(close);
  dialog.append(words, value, row);
  document.body.append(dialog);
  close.onclick = () => dialog.close();
  dialog.onclose = () => location.reload();
  dialog.showModal();
};

export const toast = (text, bad = false) => {
  const note = document.querySelector("[data-toast]");
  if (!note) return;
  note.textContent = text;
  note.className = `toast ${bad ? "bad" : ""}`;
  note.hidden = false;
  clearTimeout(toast.timer);
  if (!bad) toast.timer = setTimeout(() => { note.hidden = true; }, 4000);
};
