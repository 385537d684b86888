"""The program of PyDM: a window with widgets, without a screen."""

from __future__ import annotations

import sys
import threading
from typing import Any

from pydm import PyDMApplication
from pydm.widgets import PyDMEnumComboBox, PyDMLabel, PyDMLineEdit
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from tests.clients.programs import lines


class Label(PyDMLabel):
    """A label that tells the tests what it shows."""

    told_as = ""

    def value_changed(self, new_value: Any) -> None:
        super().value_changed(new_value)
        lines.update(self.told_as, new_value if isinstance(new_value, float) else self.text(), self.alarmSeverity)


class Window(QObject):
    """A window, and what the tests do in it and see of it."""

    asked = Signal(str)
    ended = Signal()

    def __init__(self, application: PyDMApplication) -> None:
        super().__init__()
        self._widgets: dict[str, Any] = {}
        self._window = QWidget()
        self._window.setLayout(QVBoxLayout())
        self._window.show()
        self.asked.connect(self._answer, Qt.QueuedConnection)
        self.ended.connect(application.quit, Qt.QueuedConnection)

    def show(self, widget: str, kind: str, name: str) -> None:
        """Put a widget of a kind of PyDM into the window, on a PV."""
        kinds = {"label": PyDMLabel, "enum": PyDMEnumComboBox, "line": PyDMLineEdit}
        self._add(widget, kinds[kind](init_channel=f"ca://{name}"))

    def seen(self, widget: str) -> dict[str, Any]:
        """Return what a widget shows: text, words of an enum, colour of its border, whether it can be used."""
        shown = self._widgets[widget]
        text = shown.currentText() if isinstance(shown, PyDMEnumComboBox) else shown.text()
        words = [shown.itemText(row) for row in range(shown.count())] if isinstance(shown, PyDMEnumComboBox) else []
        border = shown.grab().toImage().pixelColor(shown.width() // 2, 0).name()
        return {"text": text, "words": words, "border": border, "enabled": shown.isEnabled()}

    def type(self, widget: str, text: str) -> None:
        """Type a text into a line edit and press return."""
        self._widgets[widget].setText(text)
        self._widgets[widget].returnPressed.emit()

    def choose(self, widget: str, word: str) -> None:
        """Choose a word of an enum with the mouse."""
        shown = self._widgets[widget]
        shown.activated[int].emit(shown.findText(word))

    def monitor(self, *names: str) -> None:
        for name in names:
            label = Label(init_channel=f"ca://{name}")
            label.told_as = name
            self._add(name, label)

    def _add(self, widget: str, made: Any) -> None:
        if isinstance(made, PyDMLabel):
            made.displayFormat = PyDMLabel.DisplayFormat.String if made.channel.endswith("$") else 0
            made.showUnits = True
        self._widgets[widget] = made
        self._window.layout().addWidget(made)

    def _answer(self, line: str) -> None:
        lines.answer(self, line)


def listen(window: Window) -> None:
    """Read in another thread, act in that of the window."""
    for line in sys.stdin:
        window.asked.emit(line)
    window.ended.emit()


def main() -> None:
    """Show the window until the tests end."""
    from pydm.utilities.stylesheet import apply_stylesheet

    application = PyDMApplication(use_main_window=False)
    apply_stylesheet()
    window = Window(application)
    threading.Thread(target=listen, args=(window,)).start()
    application.exec_()


if __name__ == "__main__":
    main()
