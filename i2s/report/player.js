"use strict";
// One image's speech, played. Photo, attention, spectrograms and units move with what is heard.

function el(name, attributes = {}, ...children) { // an element; strings become text, never markup
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function start(audio) { // a promise that fails says no more than that it was paused before it began
  audio.play().catch(() => {});
}

// `views`: of each take {take, audio, line, band, chips()}; `photo`: {canvas, slider, output}, null where the first take has no units and no attention.
function player(views, photo) {
  let view = views[0], at = 0; // what is heard; its at-th unit (or moment, without units) from 1, or 0: none
  const weights = new Map();

  function veil() { // dark but where the model looks: one pixel a position, scaled up smoothly
    const { canvas } = photo, attention = view.take.attention;
    if (!attention || !at) return void (canvas.width = canvas.height = 1);
    const { height, width } = attention, size = height * width;
    if (!weights.has(view)) weights.set(view, Uint8Array.from(atob(attention.weights), (c) => c.charCodeAt(0)));
    const small = new OffscreenCanvas(width, height), pixels = new ImageData(width, height);
    for (let p = 0; p < size; p++) pixels.data[4 * p + 3] = 0.8 * (255 - weights.get(view)[(at - 1) * size + p]);
    small.getContext("2d").putImageData(pixels, 0, 0);
    [canvas.width, canvas.height] = [32 * width, 32 * height];
    canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
  }
  function show(k, time) { // the k-th unit of the view, at `time` (a fraction)
    const { units, ends } = view.take, start = k > 1 ? ends[k - 2] : 0;
    if (view.line) {
      view.line.hidden = time === undefined && !k;
      view.line.style.left = 100 * (time ?? start) + "%";
      view.band.hidden = !k;
      if (k) [view.band.style.left, view.band.style.width] = [100 * start + "%", 100 * (ends[k - 1] - start) + "%"];
    }
    if (k === at) return;
    const chips = view.chips();
    chips[at - 1]?.classList.remove("now");
    chips[at - 1]?.removeAttribute("aria-current");
    chips[k - 1]?.classList.add("now");
    chips[k - 1]?.setAttribute("aria-current", "true");
    at = k;
    if (!photo) return;
    photo.slider.value = at;
    const where = units.length ? `unit ${units[at - 1]}, ${at} of ${units.length}` : `${(start * view.take.seconds).toFixed(1)} s`;
    photo.output.textContent = at ? `${where}${view === views[0] ? "" : ` · ${view.take.title}`}` : "";
    photo.slider.setAttribute("aria-valuetext", photo.output.textContent || "before the beginning");
    veil();
  }
  function turn(to) { // to another take
    if (to === view) return;
    view.audio.pause();
    show(0);
    view = to;
    if (photo) photo.slider.max = view.take.ends.length;
  }
  function seek(k) { // to the start of the k-th unit
    k = Math.max(0, Math.min(view.take.ends.length, k));
    const start = k > 1 ? view.take.ends[k - 2] : 0;
    show(k, k ? start : undefined);
    view.audio.currentTime = start * view.take.seconds;
  }
  function follow() {
    const { audio, take } = view, time = audio.currentTime / take.seconds;
    if (audio.ended) return show(0);
    const k = take.ends.findIndex((end) => time < end - 1e-4);
    show(k < 0 ? take.ends.length : k + 1, time);
    if (!audio.paused) requestAnimationFrame(follow);
  }
  for (const one of views) {
    one.audio.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== one.audio) other.pause(); // one speaks at a time
      turn(one);
      follow();
    });
    one.audio.addEventListener("seeked", () => one === view && one.audio.currentTime > 0 && follow());
    one.audio.addEventListener("ended", () => one === view && follow());
    one.line?.parentElement.addEventListener("click", (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      turn(one);
      one.audio.currentTime = (event.clientX - box.left) / box.width * one.take.seconds;
      start(one.audio);
    });
  }
  return {
    step(by) { seek(at + by); },
    seek(one, k) { turn(one); seek(k); },
    to: seek,
    mark() { view.chips()[at - 1]?.classList.add("now"); },
    play(number) {
      const one = number === undefined ? view : views[number];
      if (!one) return;
      if (one.audio.paused) start(one.audio);
      else one.audio.pause();
    },
  };
}
