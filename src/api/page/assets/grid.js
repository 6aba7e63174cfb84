// The keyboard in a grid of nodes: one stop for Tab, arrows from there. Thousands of stops would bury the page.

export const steer = (root) => {
  for (const grid of root.querySelectorAll("[data-grid]")) {
    const links = grid.querySelectorAll("a");
    const current = [...links].find((link) => link === document.activeElement) ?? links[0];
    for (const link of links) link.tabIndex = link === current ? 0 : -1;
    if (grid.dataset.grid === "steered") continue;
    grid.dataset.grid = "steered";
    grid.addEventListener("keydown", (event) => move(grid, event));
    grid.addEventListener("focusin", ({ target }) => {
      for (const link of grid.querySelectorAll('a[tabindex="0"]')) link.tabIndex = -1;
      target.closest("a").tabIndex = 0;
    });
  }
};

const move = (grid, event) => {
  const links = [...grid.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (at < 0) return;
  const top = links[0].offsetTop;
  const wide = Math.max(1, links.findIndex((link) => link.offsetTop > top));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide, Home: -at, End: links.length - 1 - at };
  const to = links[at + (step[event.key] ?? 0)];
  if (!(event.key in step) || !to) return;
  event.preventDefault();
  to.focus();
};
