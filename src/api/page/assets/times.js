// Times: the server writes UTC, people read their own zone. Recent ones are told as distances.

const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const span = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "long" });

const steps = [[60, "second", 1], [3600, "minute", 60], [86_400, "hour", 3600]];

export const said = (at, now = Date.now()) => {
  const seconds = Math.round((at - now) / 1000);
  if (Math.abs(seconds) < 10) return "just now";
  const step = steps.find(([limit]) => Math.abs(seconds) < limit);
  return step ? span.format(Math.trunc(seconds / step[2]), step[1]) : date.format(at);
};

export const tell = (root) => {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) continue;
    const text = said(at);
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = exact.format(at);
  }
};
