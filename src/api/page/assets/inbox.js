// The inbox: what the chosen machines would be called, asked of the API as a dry run, and then declared in one
// transaction at the revision that was looked at.

const $ = (id) => document.getElementById(id);

const name = (number) => $("pattern").value.trim().replace(/#+/, (signs) => String(number).padStart(signs.length, "0"));

const address = (first, step) => {
  const parts = first.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) return first;
  const sum = parts.reduce((all, part) => all * 256 + part, 0) + step;
  return [24, 16, 8, 0].map((shift) => Math.floor(sum / 2 ** shift) % 256).join(".");
};

const operations = () => {
  const chosen = [...document.querySelectorAll("input[name=mac]:checked")];
  const [from, groups, first] = [Number($("from").value), $("groups").value.split(/[\s,]+/).filter(Boolean), $("address").value.trim()];
  return chosen.map((box, step) => ({
    op: "put",
    kind: "node",
    name: name(from + step),
    value: {
      name: name(from + step),
      groups,
      nid: $("number").checked ? from + step : null,
      arch: box.dataset.arch ?? null,
      uuid: box.dataset.uuid ?? null,
      interfaces: [{ mac: box.value, addresses: first ? [address(first, step)] : [] }],
    },
  }));
};

const send = async (list, tag) => {
  const headers = { "content-type": "application/json", ...(tag ? { "if-match": tag } : {}) };
  const path = `/api/v1/batch${tag ? "" : "?dry_run=true"}`;
  try {
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify({ operations: list }) });
    return { ok: answer.ok, tag: answer.headers.get("etag"), body: await answer.json() };
  } catch {
    return { ok: false, body: { detail: "The head does not answer." } };
  }
};

// Problems with the machine that they are about.
const told = (problem, list) => (problem.problems?.length ? problem.problems : [{ field: "", text: problem.detail }])
  .map(({ field, text }) => {
    const at = field.match(/^operations\[(\d+)\]/)?.[1];
    const place = field.replace(/^operations\[\d+\]\.?(value\.)?/, "");
    return [at === undefined ? "" : list[at]?.name, place, text].filter(Boolean).join(": ");
  }).join("\n");

export default () => {
  const form = document.querySelector("form[data-declare]");
  if (!form) return;
  const [button, verdict] = [form.querySelector("button[type=submit]"), form.querySelector("[data-verdict]")];
  let [turn, timer, tag, list] = [0, undefined, undefined, []];

  const say = (text, kind = "") => { verdict.textContent = text; verdict.className = `verdict ${kind}`; };
  const check = async () => {
    const mine = ++turn;
    button.disabled = true;
    list = operations();
    $("preview").replaceChildren();
    button.textContent = list.length > 1 ? `Declare ${list.length} machines` : "Declare";
    if (!list.length) return say("Choose at least one machine.");
    if (list.length > 1 && !$("pattern").value.includes("#")) return say("Several machines need a # in their names.", "bad");
    if (new Set(list.map((one) => one.name)).size < list.length) return say("Two machines would have one name.", "bad");
    const answer = await send(list);
    if (mine !== turn) return;
    if (!answer.ok) return say(told(answer.body, list), "bad");
    // A put would replace a node of that name; here only new ones are made.
    if (answer.body.changed.length || answer.body.unchanged) {
      return say(`${answer.body.changed.join(", ") || "It"} is declared already: choose other names.`, "bad");
    }
    tag = answer.tag;
    preview();
    say("");
    button.disabled = false;
  };
  const preview = () => {
    const table = document.createElement("table");
    for (const { name, value } of list.slice(0, 50)) {
      const row = table.insertRow();
      for (const text of [name, value.interfaces[0].mac, value.interfaces[0].addresses[0] ?? ""]) {
        const cell = row.insertCell();
        cell.textContent = text;
        cell.className = "mono small";
      }
    }
    const scroll = document.createElement("div");
    [scroll.className, scroll.tabIndex] = ["scroll", 0];
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "What is declared");
    scroll.append(table);
    $("preview").replaceChildren(scroll);
    if (list.length > 50) $("preview").append(`and ${list.length - 50} more`);
  };
  const later = () => { clearTimeout(timer); button.disabled = true; timer = setTimeout(check, 250); };

  form.addEventListener("input", later);
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-all]")) for (const box of document.querySelectorAll("input[name=mac]")) box.checked = target.checked;
    if (target.matches("[data-all], input[name=mac]")) later();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    const answer = await send(list, tag);
    if (!answer.ok) {
      say(told(answer.body, list), "bad");
      return later();
    }
    sessionStorage.setItem("flash", `${list.length} declared.`);
    location.assign(list.length === 1 ? `/ui/nodes/${encodeURIComponent(list[0].name)}` : "/ui/nodes");
  });
  check();
};
