// The gallery: which images are shown, in what order, one page of them at a time, so that thousands stay quick.

const PAGE = 20;
const { items, measures, names } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const [list, find, measure, whose, direction, show, low, high] =
  ["items", "find", "measure", "whose", "direction", "show", "low", "high"].map(byId);
const two = names.length > 1, text = items.some((item) => item.takes[0].heard !== null);
const best = (name) => measures.find((m) => m.name === name)?.lower ? 1 : -1; // the sign that sorts the best first
let shown = [], page = 0;

function option(select, value, label) { select.append(el("option", { value }, label)); }
option(measure, "", "id");
for (const { name } of measures) option(measure, name, name);
for (const [value, label] of [["system", "A"], ["other", "B"], ["difference", "A − B"]]) option(whose, value, label);
whose.parentElement.hidden = !two;
for (const [value, label] of [["best", "best to worst"], ["worst", "worst to best"]]) option(direction, value, label);
option(show, "all", "all");
option(show, "failed", "failed synthesis");
option(show, "silent", text ? "silent, or nothing heard" : "silent");
if (two && text) option(show, "differ", "A and B heard differently");

const take = (item, key) => item.takes.find((one) => one.key === key);
const systems = (item) => item.takes.filter(isSystem);
function score(item, name, of = two ? whose.value : "system") { // undefined where there is none
  if (of !== "difference") return take(item, of)?.scores[name];
  const [a, b] = ["system", "other"].map((key) => take(item, key)?.scores[name]);
  return a === undefined || b === undefined ? undefined : a - b;
}
function words(item) { // all that can be searched
  return item.search ??= [item.image, ...item.references, ...item.takes.flatMap((one) => [one.heard, one.said])]
    .filter(Boolean).join("\n").toLowerCase();
}
function kept(item) {
  const wanted = find.value.trim().toLowerCase();
  if (wanted && !words(item).includes(wanted)) return false;
  if (low.value !== "" || high.value !== "") {
    const value = score(item, measure.value || measures[0]?.name);
    if (value === undefined || (low.value !== "" && value < +low.value) || (high.value !== "" && value > +high.value)) return false;
  }
  switch (show.value) {
    case "failed": return systems(item).some((one) => one.failure);
    case "silent": return systems(item).some((one) => one.silent || one.heard === "");
    case "differ": return new Set(systems(item).map((one) => one.words.join(" "))).size > 1;
    default: return true;
  }
}
function ranked(list, name, sign = best(name)) { // those with a score, the best first; then the others
  const value = (item) => score(item, name);
  return [...list].sort((a, b) => (value(a) === undefined) - (value(b) === undefined) || sign * (value(a) - value(b)) || 0);
}
function arrange() {
  shown = items.filter(kept);
  if (measure.value) shown = ranked(shown, measure.value, best(measure.value) * (direction.value === "best" ? 1 : -1));
  byId("scored").textContent = measure.value || measures[0]?.name || "Score";
  direction.disabled = whose.disabled = !measure.value;
  landmarks();
  turn(0);
}
function turn(to) { // to another page
  page = Math.max(0, Math.min(Math.ceil(shown.length / PAGE) - 1, to));
  const from = page * PAGE, here = shown.slice(from, from + PAGE);
  for (const audio of list.querySelectorAll("audio")) audio.pause();
  list.replaceChildren(...here.map((item) => card(item, items.indexOf(item), measures)));
  const range = here.length ? `${from + 1}–${from + here.length}` : "none";
  byId("count").textContent = shown.length === items.length
    ? `${items.length} images` : `${shown.length} of ${items.length} images`;
  for (const nav of document.querySelectorAll(".pages")) {
    const step = (label, by, sign) => {
      const node = el("button", { type: "button", "aria-label": label, disabled: page + by < 0 || (page + by) * PAGE >= shown.length }, sign);
      node.addEventListener("click", () => { turn(page + by); byId("count").scrollIntoView(); nav.children[by < 0 ? 0 : 2].focus(); });
      return node;
    };
    nav.replaceChildren(step("Previous page", -1, "‹"), el("span", {}, `${range} of ${shown.length}`), step("Next page", 1, "›"));
    nav.hidden = shown.length <= PAGE;
  }
}
function go(index) { // to the index-th image shown
  if (!shown.length) return;
  index = Math.max(0, Math.min(shown.length - 1, index));
  if (Math.floor(index / PAGE) !== page) turn(Math.floor(index / PAGE));
  const article = list.children[index % PAGE];
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "start" });
}

// The best, the median and the worst by the measure of the order, or by the main one.
function landmarks() {
  const name = measure.value || measures[0]?.name, of = two && measure.value ? whose.value : "system";
  const { decimals } = measures.find((m) => m.name === name) ?? {};
  const order = ranked(items, name).filter((item) => score(item, name) !== undefined);
  const marks = [["Best", 0], ["Median", order.length >> 1], ["Worst", order.length - 1]];
  byId("landmarks").replaceChildren(...(order.length ? marks : []).map(([title, at]) => {
    const item = order[at], heard = systems(item).map((one) => one.heard).find((said) => said !== null);
    const label = of === "difference" ? `${name}, A − B` : two ? `${name} of ${SHORT[of]}` : name;
    const node = el("button", { type: "button" }, el("img", { src: item.photo, alt: "", loading: "lazy" }), el("span", {},
      el("b", {}, title), el("span", { class: "soft" }, `${label} ${number(score(item, name), decimals, of === "difference")}`),
      el("span", { dir: "auto" }, heard === undefined ? item.image : heard || "nothing heard")));
    node.addEventListener("click", () => {
      if (!shown.includes(item)) clear();
      go(shown.indexOf(item));
    });
    return node;
  }));
}
function clear() { // all filters, not the order
  find.value = low.value = high.value = "";
  show.value = "all";
  arrange();
}

const form = find.form;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => { event.preventDefault(); clear(); });
form.addEventListener("input", arrange);
arrange(); // browsers keep what was chosen before a reload

// Light and dark: as the system has it, until chosen.
const theme = byId("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
function paint(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  const now = document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  theme.textContent = now === "dark" ? "Light" : "Dark";
  theme.setAttribute("aria-label", `${theme.textContent} colours`);
  return now;
}
theme.hidden = false;
try { paint(localStorage.getItem("theme")); } catch { paint(); } // no storage: nothing is remembered
dark.addEventListener("change", () => paint());
theme.addEventListener("click", () => {
  const chosen = paint() === "dark" ? "light" : "dark";
  paint(chosen);
  try { localStorage.setItem("theme", chosen); } catch { /* not remembered */ }
});

// Keys, where nothing is typed.
document.addEventListener("keydown", (event) => {
  if (!byId("keys").checked || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=search], input[type=number], select")) return;
  const article = document.activeElement.closest("article"), mine = article?.player;
  const at = article ? page * PAGE + [...list.children].indexOf(article) : page * PAGE - 1;
  if (event.key === "j") go(at + 1);
  else if (event.key === "k") go(at - 1);
  else if (event.key === "/") find.focus();
  else if (event.key === "p" && mine) mine.play();
  else if (/^[1-4]$/.test(event.key) && mine) mine.play(event.key - 1);
  else if (event.key === "." && mine) mine.step(1);
  else if (event.key === "," && mine) mine.step(-1);
  else return;
  event.preventDefault();
});
