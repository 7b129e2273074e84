// Ready examples: Python gives [{name, mode, pictures}] as JSON text; a press tells the name back.

const list = element.querySelector(".lvm-examples");

function draw() {
  const cards = JSON.parse(props.value || "null");
  if (!Array.isArray(cards)) return;
  list.replaceChildren(...cards.map(card));
}

function card({ name, mode, pictures }) {
  const made = document.createElement("button");
  made.type = "button";
  made.title = `${name}: ${mode}`;
  const row = document.createElement("span");
  row.append(
    ...pictures.map((data) => {
      const picture = document.createElement("img");
      picture.src = `data:image/png;base64,${data}`;
      picture.alt = "";
      return picture;
    }),
  );
  made.append(row, name);
  made.addEventListener("click", () => {
    props.value = JSON.stringify(name);
    trigger("select");
  });
  return made;
}

watch("value", draw);
draw();
