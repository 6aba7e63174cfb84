// Filters of what the page shows already: rows whose text holds every word.

export const sift = (root) => {
  const field = document.querySelector("input[data-sift]");
  if (!field) return;
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of document.querySelectorAll(field.dataset.sift)) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    const count = document.querySelector("[data-sifted]");
    if (count) count.textContent = words.length ? `${shown.toLocaleString()} shown` : "";
  };
  if (root === document) field.addEventListener("input", apply);
  apply();
};
