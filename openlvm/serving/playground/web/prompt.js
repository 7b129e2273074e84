// The prompt: pictures in the order in which the LVM sees them. `props.value` tells Python what is here, as JSON text:
// {mode, sections, truths, right}. A section is a list of items, an item a list of slots (two make a pair), a slot a
// picture {name, data: base64} or null. Python sets the same text when an example is loaded.

const KINDS = { "image/png": 1, "image/jpeg": 1, "image/webp": 1 };
const PAIR = ["input", "answer"];

const strip = (title, noun) => ({ title, noun, kind: "strip", items: [] });
const pairs = (title) => ({ title, noun: "pair", kind: "pairs", items: [[null, null]] });
const one = (title) => ({ title, noun: "picture", kind: "one", items: [[null]] });

const MODES = {
  analogy: {
    title: "Analogy",
    says: "Show pairs of a picture and its answer, then a query: the answer to the query is drawn.",
    start: () => [pairs("Examples"), one("Query")],
  },
  complete: {
    title: "Continue frames",
    says: "Show frames in order: the next ones are drawn.",
    start: () => [strip("Frames", "frame")],
  },
  compose: {
    title: "Compose",
    says: "Show pairs of several tasks, then a query: the answer has all of them done.",
    start: () => [pairs("Task 1"), pairs("Task 2"), one("Query")],
  },
  choose: {
    title: "Choose",
    says: "Show pictures, then options: the option that follows best is chosen.",
    start: () => [strip("Shown", "picture"), strip("Options", "option")],
  },
};

const state = Object.fromEntries(Object.entries(MODES).map(([mode, of]) => [mode, { sections: of.start() }]));
let mode = "analogy";
let dragged = null; // {section, item} while an item is dragged
let focusNext = null; // data-key of what has the focus after the next drawing

const root = element.querySelector(".lvm-prompt");
const picker = element.querySelector("input[type=file]");
let pickedFor = null; // called with the files that are picked

// ---------------------------------------------------------------------------------------------------- telling Python

function tell() {
  const { sections, truths, right } = state[mode];
  const items = sections.map((section) => section.items);
  props.value = JSON.stringify({ mode, sections: items, truths: truths ?? [], right: right ?? null });
}

function heard() {
  const told = JSON.parse(props.value || "null");
  if (!told || !MODES[told.mode]) return;
  mode = told.mode;
  const sections = MODES[mode].start();
  while (mode === "compose" && sections.length < told.sections.length) addTask(sections);
  sections.forEach((section, number) => (section.items = told.sections[number] ?? section.items));
  state[mode] = { sections, truths: told.truths, right: told.right };
  say("");
  draw();
}

function changed() {
  delete state[mode].truths; // what was right for an example need not be right any more
  delete state[mode].right;
  draw();
  tell();
}

function say(words) {
  root.querySelector(".says").textContent = words;
}

// ------------------------------------------------------------------------------------------------------------ changes

async function read(files) {
  const pictures = [];
  for (const file of files) {
    if (!KINDS[file.type]) {
      say(`${file.name} is no PNG, JPEG or WebP picture; save it as one of these.`);
      continue;
    }
    const url = await new Promise((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = () => failed(reader.error);
      reader.readAsDataURL(file);
    });
    pictures.push({ name: file.name, data: url.slice(url.indexOf(",") + 1) });
  }
  const bytes = pictures.concat(allPictures()).reduce((sum, picture) => sum + picture.data.length, 0);
  if (bytes > props.max_bytes) {
    say(`These pictures are more than the ${Math.floor(props.max_bytes / 2 ** 20)} MiB that this server takes; shrink them.`);
    return [];
  }
  return pictures;
}

function allPictures() {
  return state[mode].sections.flatMap((section) => section.items.flat()).filter(Boolean);
}

async function put(files, number, itemNumber, slotNumber) {
  say("");
  const section = state[mode].sections[number]; // before reading: somebody may turn to another mode meanwhile
  const item = section.items[itemNumber];
  const pictures = await read(files);
  if (!pictures.length) return;
  if (slotNumber !== undefined) item[slotNumber] = pictures.shift();
  if (section.kind !== "one") for (const picture of pictures) append(section, picture);
  changed();
}

function append(section, picture) {
  const free = section.items.find((item) => item.includes(null));
  if (free) free[free.indexOf(null)] = picture;
  else section.items.push(section.kind === "pairs" ? [picture, null] : [picture]);
}

function move(from, to) {
  const { sections } = state[mode];
  const [item] = sections[from.section].items.splice(from.item, 1);
  sections[to.section].items.splice(to.item, 0, item);
  changed();
}

function step(number, itemNumber, by) {
  // Past the end of a task lies the next task.
  const { sections } = state[mode];
  const to = { section: number, item: itemNumber + by };
  if (to.item < 0 || to.item >= sections[number].items.length) {
    to.section += by;
    if (sections[to.section]?.kind !== sections[number].kind || mode === "choose") return;
    to.item = by > 0 ? 0 : sections[to.section].items.length;
  }
  focusNext = `${to.section}.${to.item}.${by > 0 ? "later" : "earlier"}`;
  move({ section: number, item: itemNumber }, to);
}

function remove(number, itemNumber) {
  state[mode].sections[number].items.splice(itemNumber, 1);
  focusNext = `${number}.add`;
  changed();
}

function addTask(sections) {
  sections.splice(sections.length - 1, 0, pairs(`Task ${sections.length}`));
}

function setMode(name) {
  mode = name;
  focusNext = `mode.${name}`;
  say("");
  draw();
  tell();
}

function pick(then, many) {
  pickedFor = then;
  picker.multiple = many;
  picker.value = "";
  picker.click();
}

picker.addEventListener("change", () => pickedFor?.([...picker.files]));

// ------------------------------------------------------------------------------------------------------------ drawing

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const button = (key, label, text, act, more = {}) =>
  make("button", { type: "button", "data-key": key, "aria-label": label, title: label, onclick: act, ...more }, text);

function draw() {
  const key = focusNext ?? (root.contains(document.activeElement) ? document.activeElement.dataset.key : null);
  focusNext = null;
  root.dataset.mode = mode;
  root.querySelector(".modes").replaceChildren(...Object.keys(MODES).map(tab));
  root.querySelector(".about").textContent = MODES[mode].says;
  const made = state[mode].sections.map(drawSection);
  if (mode === "compose") made.splice(-1, 0, button("task", "Add a task", "+ task", () => (addTask(state[mode].sections), changed()), { class: "add" }));
  root.querySelector(".sections").replaceChildren(...made);
  if (key) (root.querySelector(`[data-key="${key}"]`) ?? root.querySelector(`[data-key="mode.${mode}"]`)).focus();
}

function tab(name, number, names) {
  const go = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) setMode(names[(number + by + names.length) % names.length]);
  };
  return make(
    "button",
    { type: "button", role: "tab", "data-key": `mode.${name}`, "aria-selected": String(name === mode), tabindex: name === mode ? 0 : -1, onclick: () => setMode(name), onkeydown: go },
    MODES[name].title,
  );
}

function drawSection(section, number) {
  const list = make("ol", { class: section.kind }, ...section.items.map((item, at) => drawItem(section, number, item, at)));
  const made = make("section", { "aria-label": section.title }, make("h4", {}, section.title), list);
  if (section.kind === "one") return made;
  const add = () => {
    if (section.kind === "strip") return pick((files) => put(files, number), true);
    section.items.push([null, null]);
    focusNext = `${number}.${section.items.length - 1}.0`;
    changed();
  };
  const label = `Add ${section.kind === "strip" ? `${section.noun}s` : "a pair"} to ${section.title}`;
  made.append(button(`${number}.add`, label, section.kind === "strip" ? `+ ${section.noun}s` : "+ pair", add, { class: "add" }));
  if (mode === "compose" && state[mode].sections.length > 2 && !section.items.flat().some(Boolean)) {
    const drop = () => (state[mode].sections.splice(number, 1), changed());
    made.append(button(`${number}.drop`, `Remove ${section.title}`, "− task", drop, { class: "add" }));
  }
  receive(made, section.kind, { section: number, item: section.items.length }, (files) => put(files, number));
  return made;
}

function drawItem(section, number, item, at) {
  const name = section.kind === "one" ? section.title : `${section.title}, ${section.noun} ${at + 1}`;
  const slots = item.map((picture, slot) => drawSlot(section, number, at, slot, picture, item.length > 1 ? `${name}, ${PAIR[slot]}` : name));
  if (section.kind === "one") return make("li", {}, ...slots);
  const key = `${number}.${at}`;
  const tools = make(
    "span",
    { class: "tools" },
    button(`${key}.earlier`, `Move ${name} earlier`, section.kind === "pairs" ? "↑" : "←", () => step(number, at, -1)),
    button(`${key}.later`, `Move ${name} later`, section.kind === "pairs" ? "↓" : "→", () => step(number, at, 1)),
    button(`${key}.remove`, `Remove ${name}`, "✕", () => remove(number, at)),
  );
  const start = (event) => {
    dragged = { section: number, item: at };
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", name);
  };
  const made = make("li", { draggable: "true", ondragstart: start, ondragend: () => (dragged = null) }, make("span", { class: "number" }, String(at + 1)), ...slots, tools);
  receive(made, section.kind, { section: number, item: at }, (files) => put(files, number));
  return made;
}

function drawSlot(section, number, at, slot, picture, name) {
  const act = () => pick((files) => put(files, number, at, slot), section.kind !== "one");
  const clear = (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    if (section.kind === "strip") return remove(number, at);
    section.items[at][slot] = null;
    changed();
  };
  const inside = picture
    ? make("img", { src: `data:image/png;base64,${picture.data}`, alt: "", draggable: "false" })
    : make("span", {}, section.kind === "pairs" ? PAIR[slot] : "+");
  const label = `${name}: ${picture ? `${picture.name}; press to replace, Delete to clear` : "empty; press to pick a picture"}`;
  const made = button(`${number}.${at}.${slot}`, label, inside, act, { class: "slot", onkeydown: clear });
  const paste = (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) put(files, number, at, slot);
  };
  made.addEventListener("paste", paste);
  receive(made, null, null, (files) => put(files, number, at, slot));
  return made;
}

// Files can be dropped on anything; items where items of their kind lie.
function receive(made, kind, place, onFiles) {
  const takes = (event) => event.dataTransfer.types.includes("Files") || (place && dragged && state[mode].sections[dragged.section].kind === kind);
  made.addEventListener("dragover", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    event.stopPropagation();
    made.classList.add("over");
  });
  made.addEventListener("dragleave", () => made.classList.remove("over"));
  made.addEventListener("drop", (event) => {
    made.classList.remove("over");
    if (!takes(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.dataTransfer.files.length) return onFiles([...event.dataTransfer.files]);
    const from = dragged;
    dragged = null;
    const to = { ...place }; // in the list without what is moved
    if (from.section === to.section && to.item >= state[mode].sections[to.section].items.length) to.item -= 1;
    move(from, to);
  });
}

watch("value", heard);
draw();
tell();
