// One image of the gallery as an <article>, made when its page is turned to.

const isSystem = (take) => take.key === "system" || take.key === "other";
const SHORT = { system: "A", other: "B", voice: "voice", resynth: "respoken" };

function number(value, decimals, sign = false) {
  const text = Math.abs(value).toFixed(decimals);
  return (value < 0 && +text ? "−" : sign && +text ? "+" : "") + text;
}

function transcript(take) { // runs of words by the longest matching n-gram they are part of
  const runs = [];
  take.words.forEach((word, i) => {
    const run = runs.at(-1);
    if (run && run.order === take.orders[i]) run.words.push(word);
    else runs.push({ order: take.orders[i], words: [word] });
  });
  return runs.flatMap(({ order, words }) => [
    el("span", { class: `m m${order}` }, words.join(" "), order ? el("sup", { title: `in a matching run of ${order}${order === 4 ? " or more" : ""}` }, String(order)) : null), " ",
  ]);
}

function speech(take, tag, whole) { // {view, node}: one take with its audio, spectrogram, words and units
  const audio = el("audio", { controls: true, preload: "none", src: take.audio, "aria-label": take.title });
  const view = { take, audio, line: null, band: null, chips: () => [] };
  const node = el("div", { class: whole ? "take whole" : "take", "data-key": take.key },
    el("h4", {}, tag, el("b", {}, take.title), el("span", {}, `${take.seconds.toFixed(1)} s`)), audio);
  if (take.spectrogram) {
    view.line = el("i", { hidden: true });
    view.band = el("u", { hidden: true });
    node.append(el("div", { class: "spectrogram" },
      el("img", { src: take.spectrogram, alt: `Spectrogram, ${take.title}`, loading: "lazy" }), view.band, view.line));
  }
  if (take.heard !== null) {
    const words = take.words.length ? transcript(take) : [el("em", { class: "soft" }, take.heard || "nothing")];
    node.append(el("p", { class: "says heard", dir: "auto" }, el("b", {}, "heard"), ...words));
  }
  if (take.said !== null) node.append(el("p", { class: "says", dir: "auto" }, el("b", {}, "said"), take.said));
  if (take.failure) node.append(el("p", { class: "bad" }, `Synthesis failed: ${take.failure}`));
  if (take.silent) node.append(el("p", { class: "bad" }, "Silent"));
  return { view, node };
}

function unitString(view, open, control) { // chips, made when they are first looked at
  const { units } = view.take, line = el("p");
  const details = el("details", { class: "units", open }, el("summary", {}, `${units.length} units`), line);
  function fill() {
    if (line.firstChild) return;
    const chips = units.map((unit) => el("span", {}, String(unit)));
    line.append(...chips.flatMap((chip) => [chip, " "]));
    line.addEventListener("click", (event) => {
      const k = chips.indexOf(event.target);
      if (k >= 0) control().seek(view, k + 1);
    });
    view.chips = () => chips;
    control()?.mark();
  }
  if (open) fill();
  else details.addEventListener("toggle", fill);
  return details;
}

function scoreTable(item, measures) { // measures down, takes across: a system beside its ceilings, or two systems and their difference
  const systems = item.takes.filter(isSystem), two = systems.length > 1;
  const takes = (two ? systems : item.takes).filter((take) => Object.keys(take.scores).length);
  const shown = measures.filter(({ name }) => takes.some((take) => name in take.scores));
  if (!shown.length) return null;
  const columns = takes.map((take) => ({
    head: take.key === "system" && !two ? "system" : SHORT[take.key], value: (m) => take.scores[m], sign: false,
  }));
  if (two && takes.length > 1) {
    const [a, b] = ["system", "other"].map((key) => takes.find((take) => take.key === key).scores);
    columns.splice(2, 0, { head: "A − B", value: (m) => m in a && m in b ? a[m] - b[m] : undefined, sign: true });
  }
  const row = ({ name, label, decimals }) => el("tr", {}, el("th", { scope: "row" }, label), ...columns.map(({ value, sign }) => {
    const score = value(name);
    return el("td", {}, score === undefined ? "" : number(score, decimals, sign));
  }));
  return el("div", { class: "scores" }, el("table", { "aria-label": `Scores of ${item.image}` },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "score"), ...columns.map(({ head }) => el("th", { scope: "col" }, head)))),
    ...[...new Set(shown.map(({ part }) => part))].map((part) => el("tbody", {},
      part === "captions" ? null : el("tr", {}, el("th", { scope: "rowgroup", colspan: columns.length + 1, class: "part" }, part)),
      ...shown.filter((m) => m.part === part).map(row)))));
}

function card(item, index, measures) { // the article, with its player as `article.player`
  const two = item.takes.filter(isSystem).length > 1;
  const made = item.takes.map((take) => {
    const tag = two && { system: el("b", { class: "tag t0" }, "A"), other: el("b", { class: "tag t1" }, "B") }[take.key];
    return speech(take, tag || null, take.key === "system" && !two);
  });
  const views = made.map(({ view }) => view), first = views[0].take;
  let control = null;
  made.forEach(({ view, node }) => view.take.units.length && node.append(unitString(view, isSystem(view.take), () => control)));

  const left = el("div", { class: "look" }), picture = el("div", { class: "photo" },
    el("img", { src: item.photo, alt: `Photo ${item.image}`, loading: "lazy" }));
  left.append(picture);
  let photo = null;
  const step = first.units.length ? "unit" : "moment";
  if (first.ends.length) {
    photo = {
      canvas: el("canvas", { "aria-hidden": "true", width: 1, height: 1 }),
      slider: el("input", { type: "range", min: 0, max: first.ends.length, value: 0, "aria-label": step === "unit" ? "Unit" : "Moment" }),
      output: el("output", { class: "at" }),
    };
    picture.append(photo.canvas);
    const button = (label, sign, by) => {
      const node = el("button", { type: "button", "aria-label": label }, sign);
      node.addEventListener("click", () => control.step(by));
      return node;
    };
    photo.slider.addEventListener("input", () => control.to(+photo.slider.value));
    left.append(el("div", { class: "steps" }, button(`Previous ${step}`, "◂", -1), photo.slider, button(`Next ${step}`, "▸", 1)), photo.output);
    if (!first.attention) left.append(el("p", { class: "soft" }, "No attention over a grid for this image."));
  }
  const scores = scoreTable(item, measures);
  if (scores) left.append(scores);
  control = player(views, photo);

  const takes = el("div", { class: "takes" }, ...made.map(({ node }) => node));
  if (item.references.length) {
    takes.append(el("details", { class: "references", open: true }, el("summary", {}, `${item.references.length} references`),
      el("ul", {}, ...item.references.map((text) => el("li", { dir: "auto" }, text)))));
  }
  const article = el("article", { class: "item", tabindex: "-1", "aria-labelledby": `item${index}` },
    el("header", {}, el("h3", { id: `item${index}` }, item.image)), left, takes);
  article.player = control;
  return article;
}
