// Pages that follow what happens: the server tells of an event, the page asks for itself again and takes over
// what differs. One reading of the state, the server's; and a page that was left open is never wrong for long.

const QUIET = 700; // ms after an event before the page asks: many come together
const RESERVE = 12; // a page that takes long to make is asked for so much more rarely

export const follow = (renew) => {
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;
  const kinds = main.dataset.live.split(" ").map((kind) => `kind=${kind}`).join("&");
  let source, timer, busy = false, again = false, pause = QUIET;

  const ask = async () => {
    timer = undefined;
    if (busy) { again = true; return; }
    busy = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.status === 401) return location.reload();
      if (answer.ok) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        // Another shape, such as the first node of a head that had none: nothing to take over piece by piece.
        if (parts(document) !== parts(next) && !main.querySelector("form:focus-within")) return location.reload();
        take(next);
        renew(main);
      }
    } catch {
      // The head does not answer: the stream says so, and comes back by itself.
    } finally {
      busy = false;
      pause = Math.max(QUIET, (performance.now() - began) * RESERVE);
      if (again) { again = false; plan(); }
    }
  };
  const plan = () => { timer ??= setTimeout(ask, pause); };
  const lost = document.querySelector("[data-lost]");
  const open = () => {
    if (source) return;
    source = new EventSource(`/api/v1/events?${kinds}`);
    source.onopen = () => { if (lost) lost.hidden = true; };
    source.onerror = () => { if (lost) lost.hidden = false; };
    for (const kind of [...main.dataset.live.split(" "), "lost"]) source.addEventListener(kind, plan);
  };
  const close = () => { source?.close(); source = undefined; };
  // A browser has few connections to one host; a page that nobody looks at needs none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
    plan();
  });
  if (!document.hidden) open();
};

const parts = (root) => [...root.querySelectorAll("main > [data-part], main > .split > [data-part]")].map((part) => part.dataset.part).join();

// Takes over the parts of another reading of this page. What has the focus stays what it is.
const take = (next) => {
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = next.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || part.contains(document.activeElement) && !part.dataset.keep) continue;
    if (part.dataset.keep) keep(part, other);
    else if (part.innerHTML !== other.innerHTML) replace(part, other);
  }
};

// What was chosen stays chosen.
const replace = (part, other) => {
  const chosen = new Set([...part.querySelectorAll("input:checked")].map((box) => box.value));
  part.replaceChildren(...other.childNodes);
  for (const box of part.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.value);
};

// The same links in the same order change their class and name only: ten thousand of them, and none moves.
const keep = (part, other) => {
  const [links, others] = [part, other].map((side) => [...side.querySelectorAll("a[href]")]);
  const same = links.length === others.length
    && links.every((link, at) => link.getAttribute("href") === others[at].getAttribute("href"));
  if (!same) return part.replaceChildren(...other.childNodes);
  for (let at = 0; at < links.length; at += 1) {
    if (links[at].className !== others[at].className) links[at].className = others[at].className;
    if (links[at].title !== others[at].title) links[at].title = others[at].title;
    if (links[at].innerHTML !== others[at].innerHTML) links[at].replaceChildren(...others[at].childNodes);
  }
  const [tallies, newer] = [part.querySelectorAll("[data-tally]"), other.querySelectorAll("[data-tally]")];
  tallies.forEach((tally, at) => { if (newer[at] && tally.innerHTML !== newer[at].innerHTML) tally.innerHTML = newer[at].innerHTML; });
};
