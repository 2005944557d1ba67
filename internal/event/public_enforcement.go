package event

func enforcementEntries() []Entry { return nil }
