// The answer: what can be downloaded or copied lies in attributes; layers are shown by style alone.

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  if (pressed.dataset.file) download(pressed.dataset.file, pressed.dataset.bytes ?? bytesOf(pressed));
  if (pressed.dataset.copies) copy(pressed);
});

// Of the picture that a button stands below.
function bytesOf(pressed) {
  const pictures = pressed.closest("figure").querySelectorAll("img[data-layer=picture]");
  return pictures[Number(pressed.dataset.frame)].src.split(",")[1];
}

function download(name, base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copy(pressed) {
  const text = element.querySelector(`#${pressed.dataset.copies}`).textContent;
  const words = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "copied";
  } catch {
    pressed.textContent = "select it and press Ctrl+C"; // a page without TLS from another machine may not copy
  }
  setTimeout(() => (pressed.textContent = words), 2_000);
}

// After a press on Stop; what was under way may still come, and must not say that it goes on.
let isStopped = false;

document.addEventListener("click", (event) => {
  if (!event.target.closest("#lvm-run, #lvm-stop")) return;
  isStopped = Boolean(event.target.closest("#lvm-stop"));
  tellStopped();
});

function tellStopped() {
  if (isStopped) element.querySelectorAll("[role=status]").forEach((status) => (status.textContent = "Stopped."));
}

watch("value", tellStopped);
